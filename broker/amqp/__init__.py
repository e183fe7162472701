"""RabbitMQ: queues as data, publishing with confirms, and a consumer that really consumes.

What is promised: a message is confirmed only when a majority of the queue's replicas has it on
disk, and a delivery is acknowledged only after its handler is done. So a message may come twice,
and is never lost between the two.

    topology        queues, quarantine, users, as data; everything is in queue arguments, no policies
    link            one supervised connection: a loop over the nodes, short capped pauses
    publishing      many messages, one round of confirms
    consuming       batches to a handler, its verdicts back; watched, so that it really consumes
    administration  users and rights, over the HTTP API

Works with RabbitMQ 3.10 to 4.x.
"""

from broker.amqp.administration import Administration
from broker.amqp.consuming import Consumer, Delivery, Handler, Pace, Verdict
from broker.amqp.link import Cluster
from broker.amqp.publishing import NEW_QUEUE_SETTLES, Outgoing, Publisher
from broker.amqp.topology import (
    DELIVERY_LIMIT,
    QUARANTINE,
    QueueSpec,
    Reader,
    definitions,
    quarantine_queue,
    topology,
)

__all__ = [
    "DELIVERY_LIMIT",
    "NEW_QUEUE_SETTLES",
    "QUARANTINE",
    "Administration",
    "Cluster",
    "Consumer",
    "Delivery",
    "Handler",
    "Outgoing",
    "Pace",
    "Publisher",
    "QueueSpec",
    "Reader",
    "Verdict",
    "definitions",
    "quarantine_queue",
    "topology",
]
