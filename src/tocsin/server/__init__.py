"""Settings, wiring and lifecycle: the only room that knows every room."""
