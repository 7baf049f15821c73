"""Use cases on messages: receive, send, read, change. No HTTP; what they announce is rendered by wire."""
