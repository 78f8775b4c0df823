"""Where people train: callbacks for Lightning and the Hugging Face Trainer, profiles to the tracker of any loop."""
