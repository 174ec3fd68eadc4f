"""Backbones, the engines that run them, and the cache of what they see."""
