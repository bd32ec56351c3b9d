"""The edge agent that runs in the home: device frame to durable outbox to MQTT to application ack."""
