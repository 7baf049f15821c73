"""The account log as its readers see it: the tail, gapless following, the sweep. Never knows what a reader does."""
