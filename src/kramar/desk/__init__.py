"""The review desk: the queue in a browser, where people decide; needs neither torch nor the training rooms."""
