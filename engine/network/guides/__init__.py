"""Small models beside a frozen denoiser, which are shown pictures and steer it."""
