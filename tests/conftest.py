from hypothesis import settings

# A time limit per example fails at random on a busy machine. The rest stays as hypothesis has it,
# where CI=true means reproducible examples.
settings.register_profile("trispike", parent=settings(), deadline=None)
settings.load_profile("trispike")
