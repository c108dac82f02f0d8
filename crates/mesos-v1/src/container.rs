//! What a task runs in: containers, images, volumes, networks, limits.

use crate::command::Secret;
use crate::identity::{ContainerId, Credential, Labels, Parameter, Parameters};

message! { ContainerInfo {
    required enumeration ContainerInfoType r#type = 1;
    repeated message Volume volumes = 2;
    optional string hostname = 4;
    optional message ContainerInfoDockerInfo docker = 3;
    optional message ContainerInfoMesosInfo mesos = 5;
    repeated message NetworkInfo network_infos = 7;
    optional message LinuxInfo linux_info = 8;
    optional message RLimitInfo rlimit_info = 9;
    optional message TtyInfo tty_info = 10;
} }

enumeration! { ContainerInfoType {
    DOCKER = 1, MESOS = 2,
} }

message! { ContainerInfoDockerInfo {
    required string image = 1;
    optional enumeration ContainerInfoDockerInfoNetwork network = 2;  // HOST when absent
    repeated message ContainerInfoDockerInfoPortMapping port_mappings = 3;
    optional bool privileged = 4;  // false when absent
    repeated message Parameter parameters = 5;
    optional bool force_pull_image = 6;
    optional string volume_driver = 7;  // deprecated
} }

enumeration! { ContainerInfoDockerInfoNetwork {
    HOST = 1, BRIDGE = 2, NONE = 3, USER = 4,
} }

message! { ContainerInfoDockerInfoPortMapping {
    required uint32 host_port = 1;
    required uint32 container_port = 2;
    optional string protocol = 3;
} }

message! { ContainerInfoMesosInfo {
    optional message Image image = 1;
} }

message! { ContainerStatus {
    optional message ContainerId container_id = 4;
    repeated message NetworkInfo network_infos = 1;
    optional message CgroupInfo cgroup_info = 2;
    optional uint32 executor_pid = 3;
} }

message! { CgroupInfo {
    optional message CgroupInfoNetCls net_cls = 1;
} }

message! { CgroupInfoNetCls {
    optional uint32 classid = 1;
} }

message! { NetworkInfo {
    repeated message NetworkInfoIpAddress ip_addresses = 5;
    optional string name = 6;
    repeated string groups = 3;
    optional message Labels labels = 4;
    repeated message NetworkInfoPortMapping port_mappings = 7;
} }

enumeration! { NetworkInfoProtocol {
    IPv4 = 1, IPv6 = 2,
} }

message! { NetworkInfoIpAddress {
    optional enumeration NetworkInfoProtocol protocol = 1;  // IPv4 when absent
    optional string ip_address = 2;
} }

message! { NetworkInfoPortMapping {
    required uint32 host_port = 1;
    required uint32 container_port = 2;
    optional string protocol = 3;
} }

message! { Image {
    required enumeration ImageType r#type = 1;
    optional message ImageAppc appc = 2;
    optional message ImageDocker docker = 3;
    optional bool cached = 4;  // true when absent
} }

enumeration! { ImageType {
    APPC = 1, DOCKER = 2,
} }

message! { ImageAppc {
    required string name = 1;
    optional string id = 2;
    optional message Labels labels = 3;
} }

message! { ImageDocker {
    required string name = 1;
    optional message Credential credential = 2;  // deprecated
    optional message Secret config = 3;
} }

message! { MountPropagation {
    optional enumeration MountPropagationMode mode = 1;
} }

enumeration! { MountPropagationMode {
    UNKNOWN = 0, HOST_TO_CONTAINER = 1, BIDIRECTIONAL = 2,
} }

message! { Volume {
    required enumeration VolumeMode mode = 3;
    required string container_path = 1;
    optional string host_path = 2;
    optional message Image image = 4;
    optional message VolumeSource source = 5;
} }

enumeration! { VolumeMode {
    RW = 1, RO = 2,
} }

message! { VolumeSource {
    optional enumeration VolumeSourceType r#type = 1;
    optional message VolumeSourceDockerVolume docker_volume = 2;
    optional message VolumeSourceHostPath host_path = 5;
    optional message VolumeSourceSandboxPath sandbox_path = 3;
    optional message Secret secret = 4;
    optional message VolumeSourceCsiVolume csi_volume = 6;
} }

enumeration! { VolumeSourceType {
    UNKNOWN = 0, DOCKER_VOLUME = 1, HOST_PATH = 4, SANDBOX_PATH = 2, SECRET = 3, CSI_VOLUME = 5,
} }

message! { VolumeSourceDockerVolume {
    optional string driver = 1;
    required string name = 2;
    optional message Parameters driver_options = 3;
} }

message! { VolumeSourceHostPath {
    required string path = 1;
    optional message MountPropagation mount_propagation = 2;
} }

message! { VolumeSourceSandboxPath {
    optional enumeration VolumeSourceSandboxPathType r#type = 1;
    required string path = 2;
} }

enumeration! { VolumeSourceSandboxPathType {
    UNKNOWN = 0, SELF = 1, PARENT = 2,
} }

message! { VolumeSourceCsiVolume {
    required string plugin_name = 1;
    optional message VolumeSourceCsiVolumeStaticProvisioning static_provisioning = 2;
} }

message! { VolumeSourceCsiVolumeVolumeCapability {
    optional message VolumeSourceCsiVolumeVolumeCapabilityBlockVolume block = 1;  // one of
    optional message VolumeSourceCsiVolumeVolumeCapabilityMountVolume mount = 2;  // one of
    required message VolumeSourceCsiVolumeVolumeCapabilityAccessMode access_mode = 3;
} }

message! { VolumeSourceCsiVolumeVolumeCapabilityBlockVolume {
} }

message! { VolumeSourceCsiVolumeVolumeCapabilityMountVolume {
    optional string fs_type = 1;
    repeated string mount_flags = 2;
} }

message! { VolumeSourceCsiVolumeVolumeCapabilityAccessMode {
    required enumeration VolumeSourceCsiVolumeVolumeCapabilityAccessModeMode mode = 1;
} }

enumeration! { VolumeSourceCsiVolumeVolumeCapabilityAccessModeMode {
    UNKNOWN = 0, SINGLE_NODE_WRITER = 1, SINGLE_NODE_READER_ONLY = 2, MULTI_NODE_READER_ONLY = 3,
    MULTI_NODE_SINGLE_WRITER = 4, MULTI_NODE_MULTI_WRITER = 5,
} }

message! { VolumeSourceCsiVolumeStaticProvisioning {
    required string volume_id = 1;
    required message VolumeSourceCsiVolumeVolumeCapability volume_capability = 2;
    map message Secret node_stage_secrets = 3;
    map message Secret node_publish_secrets = 4;
    map string volume_context = 5;
} }

message! { LinuxInfo {
    optional message CapabilityInfo capability_info = 1;  // deprecated
    optional message CapabilityInfo bounding_capabilities = 2;
    optional message CapabilityInfo effective_capabilities = 3;
    optional bool share_pid_namespace = 4;
    optional message SeccompInfo seccomp = 5;
    optional enumeration LinuxInfoIpcMode ipc_mode = 6;
    optional uint32 shm_size = 7;
    optional bool share_cgroups = 8;  // true when absent
} }

enumeration! { LinuxInfoIpcMode {
    UNKNOWN = 0, PRIVATE = 1, SHARE_PARENT = 2,
} }

message! { CapabilityInfo {
    repeated enumeration CapabilityInfoCapability capabilities = 1;
} }

enumeration! { CapabilityInfoCapability {
    UNKNOWN = 0, CHOWN = 1000, DAC_OVERRIDE = 1001, DAC_READ_SEARCH = 1002, FOWNER = 1003, FSETID = 1004,
    KILL = 1005, SETGID = 1006, SETUID = 1007, SETPCAP = 1008, LINUX_IMMUTABLE = 1009, NET_BIND_SERVICE = 1010,
    NET_BROADCAST = 1011, NET_ADMIN = 1012, NET_RAW = 1013, IPC_LOCK = 1014, IPC_OWNER = 1015,
    SYS_MODULE = 1016, SYS_RAWIO = 1017, SYS_CHROOT = 1018, SYS_PTRACE = 1019, SYS_PACCT = 1020,
    SYS_ADMIN = 1021, SYS_BOOT = 1022, SYS_NICE = 1023, SYS_RESOURCE = 1024, SYS_TIME = 1025,
    SYS_TTY_CONFIG = 1026, MKNOD = 1027, LEASE = 1028, AUDIT_WRITE = 1029, AUDIT_CONTROL = 1030, SETFCAP = 1031,
    MAC_OVERRIDE = 1032, MAC_ADMIN = 1033, SYSLOG = 1034, WAKE_ALARM = 1035, BLOCK_SUSPEND = 1036,
    AUDIT_READ = 1037, PERFMON = 1038, BPF = 1039, CHECKPOINT_RESTORE = 1040,
} }

message! { SeccompInfo {
    optional string profile_name = 1;
    optional bool unconfined = 2;
} }

message! { RLimitInfo {
    repeated message RLimitInfoRLimit rlimits = 1;
} }

message! { RLimitInfoRLimit {
    optional enumeration RLimitInfoRLimitType r#type = 1;
    optional uint64 hard = 2;
    optional uint64 soft = 3;
} }

enumeration! { RLimitInfoRLimitType {
    UNKNOWN = 0, RLMT_AS = 1, RLMT_CORE = 2, RLMT_CPU = 3, RLMT_DATA = 4, RLMT_FSIZE = 5, RLMT_LOCKS = 6,
    RLMT_MEMLOCK = 7, RLMT_MSGQUEUE = 8, RLMT_NICE = 9, RLMT_NOFILE = 10, RLMT_NPROC = 11, RLMT_RSS = 12,
    RLMT_RTPRIO = 13, RLMT_RTTIME = 14, RLMT_SIGPENDING = 15, RLMT_STACK = 16,
} }

message! { TtyInfo {
    optional message TtyInfoWindowSize window_size = 1;
} }

message! { TtyInfoWindowSize {
    required uint32 rows = 1;
    required uint32 columns = 2;
} }
