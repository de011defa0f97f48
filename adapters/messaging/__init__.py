"""Events to and from the outside by way of brokers: RabbitMQ (AMQP 0-9-1) and NATS JetStream, both optional.

`addresses` reads what the settings name, `encoding` and `reading` turn CloudEvents into messages and back, `building` makes
the sinks and sources. The libraries of a broker are imported only when an address needs them.
"""
