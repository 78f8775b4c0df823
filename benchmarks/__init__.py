"""Speed against torch.nn, as ratios taken in one process."""
