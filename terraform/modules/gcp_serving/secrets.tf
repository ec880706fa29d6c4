# The keys file is added from outside (output `commands`), so that no key is in a plan or a state.
resource "google_secret_manager_secret" "keys" {
  project   = var.project_id
  secret_id = "${var.name}-keys"
  labels    = var.labels

  replication {
    auto {}
  }
}

resource "google_secret_manager_secret" "receipt_key" {
  project   = var.project_id
  secret_id = "${var.name}-receipt-key"
  labels    = var.labels

  replication {
    auto {}
  }
}

# Ephemeral and write-only: made here, known to Secret Manager alone.
ephemeral "random_password" "receipt_key" {
  length  = 48
  special = false
}

resource "google_secret_manager_secret_version" "receipt_key" {
  secret                 = google_secret_manager_secret.receipt_key.id
  secret_data_wo         = ephemeral.random_password.receipt_key.result
  secret_data_wo_version = var.auth.receipt_key_version
  deletion_policy        = "ABANDON" # an earlier revision that calls are rolled back to reads its own

  lifecycle {
    create_before_destroy = true
  }
}
