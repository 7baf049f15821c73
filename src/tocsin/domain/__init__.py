"""The words and rules of Tocsin: messages, entries, filters, subscriptions, time. No I/O, no asyncio, no camelCase."""
