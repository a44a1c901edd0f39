"""What is trained: attached to the model, named for other tools, written, read. Knows no loop and no screen."""
