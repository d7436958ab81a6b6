# The tuned settings on their way into the service's environment.
module "settings" {
  source        = "./modules/settings"
  tuning        = var.tuning
  tuning_source = var.tuning_source
}

output "environment" {
  description = "The environment of the service's container. PERFKIT_REQUIRE_REAL keeps a stand-in from serving production."
  value       = merge(module.settings.environment, { PERFKIT_REQUIRE_REAL = "1" })
}
