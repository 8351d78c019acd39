"""Floor 5: the parts of ``compare``: which runs there are, how they are started, what their figures come to."""
