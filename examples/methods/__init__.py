"""Networks of other training methods, one module each: how they are trained and deployed."""
