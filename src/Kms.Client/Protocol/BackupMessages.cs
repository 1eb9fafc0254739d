using System.Text.Json.Serialization;

namespace Kms.Client.Protocol;

/// <summary><c>backup.create</c></summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed class CreateBackupRequest
{
    /// <summary>The file's name in the daemon's backup folder; absent: one made of the time.</summary>
    public string? Path { get; init; }
}

/// <summary>Answer of <c>backup.create</c></summary>
public sealed class CreateBackupResult
{
    /// <summary>The file's name in the daemon's backup folder.</summary>
    public required string Path { get; init; }

    /// <summary>SHA-256 of the file, in hexadecimal digits, as <c>sha256sum</c> prints it.</summary>
    public required string Sha256 { get; init; }

    /// <summary>How many entries of the history it holds.</summary>
    public required long Entries { get; init; }

    /// <summary>The daemon's backup folder, where the file is.</summary>
    public string? Folder { get; init; }

    /// <summary>The file's size in bytes.</summary>
    public long? Size { get; init; }
}
