terraform {
  required_version = ">= 1.9" # optional() attributes and validations that read other variables
}
