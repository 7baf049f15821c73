"""Outside networks and our adapters to them: contract, loopback, and the dispatcher that hands messages over."""
