"""The HTTP service: a model file behind an address, with limits; needs neither torch nor the training rooms."""
