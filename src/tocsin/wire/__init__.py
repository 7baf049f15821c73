"""RingCentral JSON, both ways: translation between domain values and the wire, and nothing else."""
