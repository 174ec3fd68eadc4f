"""How the review queue's tables came to be, a step a file; `database` takes those that a database lacks."""
