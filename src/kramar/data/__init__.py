"""From the user's folder or table to the manifest: one row a photo."""
