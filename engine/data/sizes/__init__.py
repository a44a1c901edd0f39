"""At which size a picture is trained, which part of it is shown, and its pixels there."""
