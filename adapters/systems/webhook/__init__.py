"""Case systems with an HTTP endpoint of their own: every act is one signed POST. See `system`."""

from adapters.systems.webhook.system import WebhookSystem, make

__all__ = ["WebhookSystem", "make"]
