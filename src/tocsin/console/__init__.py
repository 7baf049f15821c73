"""The sandbox's web page: what was kept and what was delivered, rendered on the server. No logic of its own."""
