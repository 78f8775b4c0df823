"""The recorder: total gradients of every step, gathered, aggregated and labelled."""
