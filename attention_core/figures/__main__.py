"""Print the style sheet of all figures: `python -m attention_core.figures > figures.css`."""

from attention_core.figures import stylesheet

print(stylesheet(), end="")
