# How many clients of Redis the instances may become together, against how many it admits.
# perfkit/pools/client_limit.py says why so, and counts alike; a test holds the two against each other.
locals {
  redis_connections = {
    for name, pool in var.tuning.pools :
    name => pool.max_connections + (pool.transport == "mux" ? pool.mux_connections : 0)
    if can(pool.max_connections)
  }
  redis_connections_per_instance = 1 + (
    var.tuning.pools.partitioned ? sum(values(local.redis_connections)) : local.redis_connections.default
  )
  redis_clients = var.tuning.cloudrun.max_instances * local.redis_connections_per_instance
}

# A warning at every plan. What blocks is `perfkit export` and `perfkit adopt`, which have a --force.
check "redis_clients" {
  assert {
    condition     = local.redis_clients * 5 <= var.tuning.pools.server_max_clients * 4
    error_message = "${var.tuning.cloudrun.max_instances} instances x ${local.redis_connections_per_instance} connections may be ${local.redis_clients} clients of Redis, more than four fifths of the ${var.tuning.pools.server_max_clients} it admits. Lower cloudrun.max_instances or the pools' max_connections; docs/pools.md says how they are counted."
  }
}
