// SPDX-License-Identifier: Apache-2.0
// A libnvidia-ml.so that says what a test wants.
#include <cstring>

extern "C" {

unsigned fake_nvml_sm_mhz = 1980;
unsigned long long fake_nvml_reasons = 0;

int nvmlInit_v2() { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned bytes) {
  std::strncpy(text, "580.159.04", bytes - 1);
  return 0;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **device) {
  *device = &fake_nvml_sm_mhz;
  return std::strcmp(id, "00000084:84:84.0") == 0 ? 0 : 6; // the fake driver says 132 to everything
}
int nvmlDeviceGetClockInfo(void *, int type, unsigned *mhz) {
  *mhz = type == 1 ? fake_nvml_sm_mhz : type == 2 ? 2619 : 0;
  return 0;
}
int nvmlDeviceGetPowerManagementLimit(void *, unsigned *milliwatts) {
  *milliwatts = 700000;
  return 0;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *, unsigned long long *reasons) {
  *reasons = fake_nvml_reasons;
  return 0;
}
}
