mock_provider "google" {
  mock_resource "google_service_account" {
    defaults = { email = "digits-run@my-project.iam.gserviceaccount.com" }
  }
  mock_resource "google_cloud_run_v2_service" {
    defaults = { uri = "https://digits-0123456789-ew.a.run.app", latest_created_revision = "digits-00001-abc" }
  }
  mock_resource "google_monitoring_uptime_check_config" {
    defaults = { uptime_check_id = "digits-check" }
  }
  mock_resource "google_secret_manager_secret_version" {
    defaults = { version = "2" }
  }
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
}

variables {
  name       = "digits"
  project_id = "my-project"
  region     = "europe-west1"
  images     = { gateway = "example.com/gateway:1.0.0", server = "example.com/server:1.0.0" }
  models     = ["digits"]
}

run "private_and_wired" {
  assert {
    condition     = length(google_cloud_run_v2_service_iam_member.callers) == 0
    error_message = "Nobody may call a service that names no callers."
  }
  assert {
    condition     = google_cloud_run_v2_service.this[0].ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY"
    error_message = "The internet does not reach a service that is not public."
  }
  assert {
    condition     = google_storage_bucket.models.public_access_prevention == "enforced" && google_storage_bucket.models.uniform_bucket_level_access && google_storage_bucket.models.versioning[0].enabled
    error_message = "The model store is never public, and what is overwritten can be had back."
  }
  assert {
    condition     = length(google_compute_global_forwarding_rule.this) == 0 && length(google_monitoring_uptime_check_config.this) == 0
    error_message = "Without a domain there is no load balancer, and nobody outside to check."
  }
  assert {
    condition     = output.endpoint == "digits-0123456789-ew.a.run.app:443"
    error_message = "The endpoint is host:port, not ${output.endpoint}"
  }
  assert {
    condition     = google_cloud_run_v2_service.this[0].template[0].containers[0].ports[0].name == "h2c" && google_cloud_run_v2_service.this[0].template[0].containers[0].ports[0].container_port == 50051
    error_message = "gRPC needs HTTP/2 end to end."
  }
  assert {
    condition     = { for env in google_cloud_run_v2_service.this[0].template[0].containers[0].env : env.name => env.value }["TENSORGATE_LISTEN"] == "0.0.0.0:50051"
    error_message = "The gateway listens on the port that Cloud Run sends calls to."
  }
  assert {
    condition = (
      { for env in google_cloud_run_v2_service.this[0].template[0].containers[0].env : env.name => env.value }["TENSORGATE_BACKEND__ADDRESS"] == "127.0.0.1:8500" &&
      contains(google_cloud_run_v2_service.this[0].template[0].containers[1].args, "--port=8500") &&
      google_cloud_run_v2_service.this[0].template[0].containers[0].depends_on == tolist(["server"])
    )
    error_message = "The gateway asks the server on the port that it listens on, and starts after it."
  }
  assert {
    condition = (
      google_cloud_run_v2_service.this[0].template[0].containers[0].startup_probe[0].grpc[0].port == 50051 &&
      google_cloud_run_v2_service.this[0].template[0].containers[0].liveness_probe[0].http_get[0].path == "/livez" &&
      google_cloud_run_v2_service.this[0].template[0].containers[1].startup_probe[0].grpc[0].port == 8500 &&
      google_cloud_run_v2_service.this[0].template[0].containers[1].liveness_probe[0].grpc[0].port == 8500 &&
      contains(google_cloud_run_v2_service.this[0].template[0].containers[1].args, "--enable_grpc_healthcheck_service=true")
    )
    error_message = "Both containers are asked whether they started and whether they live."
  }
  assert {
    condition = (
      google_cloud_run_v2_service.this[0].template[0].volumes[0].gcs[0].bucket == google_storage_bucket.models.name &&
      google_cloud_run_v2_service.this[0].template[0].volumes[0].gcs[0].read_only &&
      contains(google_cloud_run_v2_service.this[0].template[0].containers[1].args, "--model_config_file=/models/models.config") &&
      strcontains(google_storage_bucket_object.model_config.content, "base_path: \"/models/digits\"")
    )
    error_message = "The server reads the model store, and cannot write it."
  }
  assert {
    condition = alltrue([
      for env in google_cloud_run_v2_service.this[0].template[0].containers[0].env :
      length(env.value_source) == 1 && env.value == null if env.name == "TENSORGATE_RECEIPT_KEY"
    ]) && contains([for env in google_cloud_run_v2_service.this[0].template[0].containers[0].env : env.name], "TENSORGATE_RECEIPT_KEY")
    error_message = "The receipt key comes from Secret Manager."
  }
  assert {
    condition     = google_secret_manager_secret_version.receipt_key.secret_data == null && google_secret_manager_secret_version.receipt_key.secret_data_wo == null
    error_message = "No secret's value is in the state."
  }
  assert {
    condition     = google_cloud_run_v2_service.this[0].template[0].volumes[1].secret[0].secret == "digits-keys"
    error_message = "The keys file is mounted from Secret Manager."
  }
  assert {
    condition = (
      length(google_storage_bucket_iam_member.writer) == 0 &&
      !anytrue([for env in google_cloud_run_v2_service.this[0].template[0].containers[0].env : can(regex("FEEDBACK|ROLLOUT|CAPTURE", env.name))]) &&
      length(google_storage_bucket.models.lifecycle_rule) == 2 &&
      strcontains(google_storage_bucket_object.model_config.content, "num_versions: 2")
    )
    error_message = "Without labels, roll-outs of versions and captured requests the service writes nowhere."
  }
}

run "least_rights" {
  variables {
    auth        = { callers = ["serviceAccount:caller@my-project.iam.gserviceaccount.com"] }
    model_store = { publishers = ["serviceAccount:trainer@my-project.iam.gserviceaccount.com"] }
  }
  assert {
    condition = (
      google_storage_bucket_iam_member.reader.role == "roles/storage.objectViewer" &&
      toset([for grant in google_storage_bucket_iam_member.publishers : grant.role]) == toset(["roles/storage.objectCreator", "roles/storage.objectViewer"]) &&
      toset([for grant in google_secret_manager_secret_iam_member.this : grant.role]) == toset(["roles/secretmanager.secretAccessor"]) &&
      [for grant in google_cloud_run_v2_service_iam_member.callers : grant.role] == ["roles/run.invoker"]
    )
    error_message = "The service reads, publishers add, callers call; nobody has a broader role."
  }
  assert {
    condition     = google_cloud_run_v2_service.this[0].template[0].service_account == google_service_account.this.email
    error_message = "The service runs as an identity of its own, not as the project's default."
  }
}

run "domain" {
  variables {
    auth   = { public = true, callers = ["allUsers"] }
    domain = { name = "digits.example.com", zone = "example" }
    alerts = { emails = ["team@example.com"] }
  }
  assert {
    condition     = google_compute_ssl_policy.this[0].min_tls_version == "TLS_1_2" && google_compute_target_https_proxy.this[0].ssl_policy == google_compute_ssl_policy.this[0].id
    error_message = "TLS 1.2 at least."
  }
  assert {
    condition     = google_cloud_run_v2_service.this[0].ingress == "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER" && google_cloud_run_v2_service.this[0].default_uri_disabled
    error_message = "Nobody goes round the load balancer and its limits."
  }
  assert {
    condition     = google_compute_backend_service.this[0].security_policy == google_compute_security_policy.this[0].id
    error_message = "The limits are those of the load balancer."
  }
  assert {
    condition     = output.endpoint == "digits.example.com:443" && google_dns_record_set.this[0].name == "digits.example.com."
    error_message = "The endpoint is the domain."
  }
  assert {
    condition     = length(google_monitoring_uptime_check_config.this) == 1 && alltrue([for policy in google_monitoring_alert_policy.this : length(policy.notification_channels) == 1])
    error_message = "A public service is checked from outside, and each alert is told to somebody."
  }
}

run "canary" {
  variables {
    rollout = { stable = "digits-00001-abc", percent = 10 }
  }
  assert {
    condition = jsonencode([for part in google_cloud_run_v2_service.this[0].traffic : [part.revision, part.percent, part.tag]]) == jsonencode([
      ["digits-00001-abc", 90, "stable"], [null, 10, "candidate"]
    ])
    error_message = "The stable revision keeps what the newest does not get."
  }
}

run "foundation_only" {
  variables {
    images          = null
    foundation_only = true
  }
  assert {
    condition     = length(google_cloud_run_v2_service.this) == 0 && output.endpoint == null && output.registry == "europe-west1-docker.pkg.dev/my-project/digits"
    error_message = "What images, keys and models are put into is there before the service."
  }
}

run "options" {
  variables {
    auth     = { api_keys = false, callers = ["group:callers@example.com"] }
    network  = { network = "vpc", subnetwork = "subnet" }
    budget   = { billing_account = "012345-6789AB-CDEF01", amount = 200 }
    settings = { TENSORGATE_LIMITS__MAX_INSTANCES = "64" }
  }
  assert {
    condition     = length(google_cloud_run_v2_service.this[0].template[0].volumes[1].secret) == 0
    error_message = "Without keys there is no keys file."
  }
  assert {
    condition     = google_cloud_run_v2_service.this[0].template[0].vpc_access[0].network_interfaces[0].subnetwork == "subnet"
    error_message = "Calls out go through the subnetwork."
  }
  assert {
    condition     = google_billing_budget.this[0].amount[0].specified_amount[0].units == "200"
    error_message = "The budget is the amount."
  }
  assert {
    condition     = { for env in google_cloud_run_v2_service.this[0].template[0].containers[0].env : env.name => env.value }["TENSORGATE_LIMITS__MAX_INSTANCES"] == "64"
    error_message = "Settings reach the gateway."
  }
}

run "feedback_rollouts_and_capture" {
  variables {
    feedback       = { database_url_secret = "digits-feedback" }
    network        = { network = "vpc", subnetwork = "subnet" }
    auth           = { receipt_key_version = 2, receipt_key_fallback = true }
    models         = ["digits", "letters"]
    model_rollouts = true
    capture        = { sampling_rate = 0.05, days = 7 }
  }
  assert {
    condition = alltrue([
      for env in google_cloud_run_v2_service.this[0].template[0].containers[0].env :
      env.value == null && env.value_source[0].secret_key_ref[0].secret == "digits-feedback" if env.name == "TENSORGATE_FEEDBACK__DATABASE_URL"
    ]) && contains([for env in google_cloud_run_v2_service.this[0].template[0].containers[0].env : env.name], "TENSORGATE_FEEDBACK__DATABASE_URL")
    error_message = "The database's URL comes from Secret Manager."
  }
  assert {
    condition = { for env in google_cloud_run_v2_service.this[0].template[0].containers[0].env : env.name => "${one(one(env.value_source).secret_key_ref).secret} ${one(one(env.value_source).secret_key_ref).version}" if startswith(env.name, "TENSORGATE_RECEIPT_KEY") } == {
      TENSORGATE_RECEIPT_KEY           = "digits-receipt-key 2"
      TENSORGATE_RECEIPT_KEY_FALLBACKS = "digits-receipt-key 1"
    }
    error_message = "What the key before signed is still taken."
  }
  assert {
    condition     = toset([for grant in google_secret_manager_secret_iam_member.this : grant.secret_id]) == toset(["digits-keys", "digits-receipt-key", "digits-feedback"])
    error_message = "The service may read the secret that it is started with."
  }
  assert {
    condition = (
      { for env in google_cloud_run_v2_service.this[0].template[0].containers[0].env : env.name => env.value }["TENSORGATE_ROLLOUT__PLANS"] == google_storage_bucket.models.url &&
      { for env in google_cloud_run_v2_service.this[0].template[0].containers[0].env : env.name => env.value }["TENSORGATE_ROLLOUT__REPLICAS"] == "10" &&
      { for env in google_cloud_run_v2_service.this[0].template[0].containers[0].env : env.name => env.value }["TENSORGATE_CAPTURE__PATH"] == "${google_storage_bucket.models.url}/captured" &&
      { for env in google_cloud_run_v2_service.this[0].template[0].containers[0].env : env.name => env.value }["TENSORGATE_CAPTURE__SAMPLING_RATE"] == "0.05"
    )
    error_message = "Plans and captured requests are kept in the model store, and a verdict is shared by all instances that there may be."
  }
  assert {
    condition = (
      toset([for grant in google_storage_bucket_iam_member.writer : grant.role]) == toset(["roles/storage.objectUser"]) &&
      toset(flatten([for grant in google_storage_bucket_iam_member.writer : regexall("/objects/([^']+)'", grant.condition[0].expression)])) ==
      toset(["digits/rollout.json", "digits/.rollout/", "letters/rollout.json", "letters/.rollout/", "captured/"])
    )
    error_message = "The service writes plans and captured requests, and no model."
  }
  assert {
    condition     = [for rule in google_storage_bucket.models.lifecycle_rule : one(rule.condition).age if contains(coalesce(one(rule.condition).matches_prefix, []), "captured/")] == [7]
    error_message = "What is captured is kept as long as asked, and models are kept."
  }
  assert {
    condition     = strcontains(google_storage_bucket_object.model_config.content, "num_versions: 3")
    error_message = "The stable version stays loaded while another is published beside the candidate."
  }
}
