"""The Augury worker: claims runs over Redis, supervises their process trees, relays what they say."""
