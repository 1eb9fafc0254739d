using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Kms.Client.Protocol;
using Kms.Client.SealedFiles;

namespace Kms.Client.Tests.SealedFiles;

/// <summary>What the daemon does with data keys, in memory: AES-256-GCM that binds key, version and context.</summary>
internal sealed class DoubleDataKeys : IDataKeys
{
    private readonly byte[] _secret = RandomNumberGenerator.GetBytes(32);

    public KeyTag Key { get; } = KeyTag.New();

    public int Version { get; set; } = 1;

    public Task<NewDataKey> CreateAsync(string key, byte[] context, CancellationToken cancellationToken)
    {
        var plaintext = new SensitiveBytes(RandomNumberGenerator.GetBytes(32));
        return Task.FromResult(new NewDataKey(Key, Seal(plaintext, context), plaintext));
    }

    /// <summary>What the next reencrypt answers instead.</summary>
    public string? Nonsense { get; set; }

    public async Task<string> ReencryptAsync(KeyTag key, string sealedKey, byte[] context, CancellationToken cancellationToken)
    {
        using SensitiveBytes plaintext = await OpenAsync(key, sealedKey, context, cancellationToken);
        return Nonsense ?? Seal(plaintext, context);
    }

    public Task<SensitiveBytes> OpenAsync(KeyTag key, string sealedKey, byte[] context, CancellationToken cancellationToken)
    {
        if (key != Key)
        {
            throw new KmsException(KmsErrorCode.NotFound, "There is no such key.");
        }

        try
        {
            string[] parts = sealedKey.Split(':');
            int version = int.Parse(parts[1][1..], NumberStyles.None, CultureInfo.InvariantCulture);
            byte[] bytes = Convert.FromBase64String(parts[2]);
            if (version > Version || Convert.ToBase64String(bytes) != parts[2] || bytes.Length < 28)
            {
                throw Refused();
            }

            var plaintext = new SensitiveBytes(bytes.Length - 28);
            using var aes = new AesGcm(_secret, 16);
            aes.Decrypt(bytes.AsSpan(0, 12), bytes.AsSpan(12..^16), bytes.AsSpan(^16..), plaintext.AsSpan(), Bind(version, context));
            return Task.FromResult(plaintext);
        }
        catch (Exception exception) when (exception is FormatException or CryptographicException or OverflowException)
        {
            throw Refused();
        }
    }

    public string Seal(SensitiveBytes plaintext, byte[] context)
    {
        byte[] bytes = new byte[12 + plaintext.Length + 16];
        RandomNumberGenerator.Fill(bytes.AsSpan(0, 12));
        using var aes = new AesGcm(_secret, 16);
        aes.Encrypt(bytes.AsSpan(0, 12), plaintext.AsSpan(), bytes.AsSpan(12..^16), bytes.AsSpan(^16..), Bind(Version, context));
        return $"kms:v{Version}:{Convert.ToBase64String(bytes)}";
    }

    private byte[] Bind(int version, byte[] context) => [.. Encoding.UTF8.GetBytes($"{Key} {version} "), .. context];

    private static KmsException Refused() => new(KmsErrorCode.InvalidCiphertext, "This doesn't authenticate.");
}
