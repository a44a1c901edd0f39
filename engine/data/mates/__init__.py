"""What belongs to a picture besides its caption: reference pictures, masks, the place of its subject."""
