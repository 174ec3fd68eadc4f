"""Opens and runs model files with ONNX Runtime; needs neither torch nor the training rooms."""
