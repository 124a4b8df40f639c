"""The parts of scripts/bench-peers: which cases there are, how sides are run, what is reported."""
