"""HTTP and WebSocket edges: one table of routes, authentication, and thin handlers. No SQL, no rules."""
