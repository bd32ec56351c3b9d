"""Real Kafka, Mosquitto and TimescaleDB on a machine without Docker."""
