"""From scores to decisions: calibration now; thresholds and prediction sets build on it."""
