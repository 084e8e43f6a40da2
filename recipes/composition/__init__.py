"""The parts that a runner is composed of: its options, and what is made of them."""
