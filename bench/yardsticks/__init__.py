"""Yardsticks: the least code that does the same work, to be measured in the same run. Not examples of style."""
