"""Training: the recipe, its losses and augmentation, and the loop."""
