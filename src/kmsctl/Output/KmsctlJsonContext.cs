using System.Text.Json.Serialization;
using Kmsctl.Doctor;

namespace Kmsctl.Output;

/// <summary>What <c>file info --json</c> prints.</summary>
internal sealed class SealedFileDescription
{
    public required string Key { get; init; }

    public required long KeyVersion { get; init; }

    public required string FileId { get; init; }

    public required string SealedDataKey { get; init; }
}

/// <summary>What <c>reencrypt --lines --json</c> prints.</summary>
internal sealed class LinesDescription
{
    public required long Lines { get; init; }
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(SealedFileDescription))]
[JsonSerializable(typeof(LinesDescription))]
[JsonSerializable(typeof(DoctorReport))]
internal sealed partial class KmsctlJsonContext : JsonSerializerContext;
