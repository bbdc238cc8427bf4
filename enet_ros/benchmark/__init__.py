"""The benchmark: what the networks cost on this machine, as in the paper's Tables 2 and 3."""
