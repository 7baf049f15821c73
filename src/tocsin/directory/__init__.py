"""Who is who and who may: the directory in memory, sessions and tokens, and the company that a sandbox starts with."""
