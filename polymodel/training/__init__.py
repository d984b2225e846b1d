"""Training on any backend: Trainer and TrainStep, what they are given, their steps on one device and several, and their state."""
