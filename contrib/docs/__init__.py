"""What is generated from the code: references, the state diagram, completions."""
