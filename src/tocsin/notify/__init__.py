"""The notifier: index, lanes, coalescing, envelopes, watermark. It owns no sockets."""
