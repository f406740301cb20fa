"""What holds for every test of the workspace."""

from hypothesis import HealthCheck, settings

# Two shared cores: a slow draw says something of the neighbours, nothing of the code.
settings.register_profile("penstock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("penstock")
