"""A partner country that answers by script, so that an integrator can test alone."""
